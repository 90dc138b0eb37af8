"""MSP-Podcast: trees in every format that its releases have, and what is wrong with a damaged one."""

import json

import pytest

from helpers.corpus_files import votes_of, wav
from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.data.corpora.table import CorpusError

FILES = ("MSP-PODCAST_0001_0008", "MSP-PODCAST_0001_0019", "MSP-PODCAST_0002_0033")
CONSENSUS = [
    {"FileName": f"{FILES[0]}.wav", "EmoClass": "N", "SpkrID": "127", "Gender": "Male", "Split_Set": "Test1"},
    {"FileName": f"{FILES[1]}.wav", "EmoClass": "C", "SpkrID": "Unknown", "Gender": "Unknown", "Split_Set": "Train"},
    {"FileName": f"{FILES[2]}.wav", "EmoClass": "X", "SpkrID": "2", "Gender": "Female", "Split_Set": "Development"},
]
DETAILED = [
    (FILES[0], "WORKER00000001", "Neutral", "Neutral,Concerned"),
    (FILES[0], "WORKER00000002", "Neutral", "Neutral"),
    (FILES[0], "WORKER00000003", "Other-annoyed, a bit", "Other-annoyed,Angry"),
    (FILES[1], "WORKER00000001", "Contempt", "Contempt,Disgust"),
    (FILES[1], "WORKER00000002", "Surprise", ""),
    (FILES[1], "WORKER00000002", "Surprise", ""),  # copied: in some releases a worker is there twice
    (FILES[2], "WORKER00000001", "Angry", "Angry"),
    (FILES[2], "WORKER00000003", "Fear", "Fear,Sad"),
    (FILES[2], "WORKER00000004", "Bemused", "Bemused"),
]


def csv_text(rows, names):
    lines = [",".join(f'"{row[name]}"' for name in names) for row in rows]
    return "\n".join([",".join(names), *lines]) + "\n"


def columns(worker):
    names = ("FileName", worker, "EmoClass_Major", "EmoClass_Second")
    rows = [dict(zip(names, (f"{file}.wav", *rest), strict=True)) for file, *rest in DETAILED]
    return csv_text(rows, names)


def one_text():
    rows = [
        {"FileName": f"{file}.wav", "EmoDetail": f"{worker}; {major}; {second}; A:4.000000; V:3.000000; D:5.000000;"}
        for file, worker, major, second in DETAILED
    ]
    return csv_text(rows, ("FileName", "EmoDetail"))


def json_texts():
    consensus = {row["FileName"]: {name: row[name] for name in row if name != "FileName"} for row in CONSENSUS}
    workers = {}
    for file, worker, major, second in DETAILED:
        entry = {"EmoClass_Major": major, "EmoClass_Second": second, "EmoAct": "4.0"}
        workers.setdefault(f"{file}.wav", {})[worker] = entry
    return json.dumps(consensus), json.dumps(workers)


CONSENSUS_CSV = csv_text(CONSENSUS, ("FileName", "EmoClass", "SpkrID", "Gender", "Split_Set"))
RELEASES = {
    "2.0": {"Labels/labels_consensus.csv": CONSENSUS_CSV, "Labels/labels_detailed.csv": columns("WorkerID")},
    "1.11": {"Labels/labels_consensus.csv": CONSENSUS_CSV, "Labels/labels_detailed.csv": one_text()},
    "1.9": {"labels/labels_concensus.csv": CONSENSUS_CSV, "labels/labels_detailed.csv": one_text()},
    "1.6": {"label/labels_concensus.csv": CONSENSUS_CSV, "label/labels_detailed.csv": columns("Workers")},
    "JSON": dict(zip(("Labels/labels_consensus.json", "Labels/labels_detailed.json"), json_texts(), strict=True)),
    "old JSON": dict(zip(("Labels/labels_concensus.json", "Labels/labels_detailed.json"), json_texts(), strict=True)),
}


@pytest.fixture
def podcast(tmp_path):
    """Return a function from the texts of a release to the settings that read its tree."""
    for name in (*FILES, "MSP-PODCAST_9999_0001"):
        wav(tmp_path / "Audios" / f"{name}.wav")

    def write(texts, **settings):
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
        return Data(corpus="msp_podcast", corpus_path=str(tmp_path), **settings)

    return write


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_is_read_alike(podcast, release):
    data = podcast(RELEASES[release])
    table = corpora.read(data)
    assert list(table["id"]) == list(FILES)
    assert list(table["label"]) == ["neutral", "contemptuous", ""]  # no agreement is no label
    assert list(table["speaker"]) == ["127", "", "2"]
    assert list(table["split"]) == ["Test1", "Train", "Development"]
    assert list(table["gender"]) == ["Male", "Unknown", "Female"]
    assert votes_of(table, FILES[0]) == {"neutral": 2, "other": 1}
    assert votes_of(table, FILES[1]) == {"contemptuous": 1, "surprised": 1}  # not twice
    assert votes_of(table, FILES[2]) == {"angry": 1, "fearful": 1, "other": 1}
    votes = corpora.votes(data)
    assert list(votes.columns) == ["id", "annotator", "label", "weight"]
    assert set(votes["annotator"]) == {f"WORKER0000000{i}" for i in (1, 2, 3, 4)}


def test_a_wav_without_a_label_is_left_out_with_a_note(podcast, caplog):
    corpora.read(podcast(RELEASES["2.0"]))
    assert "1 left out: 1 without a consensus label (Audios/MSP-PODCAST_9999_0001.wav)" in caplog.text
    assert "1 vote of a worker on a file that is there already passed over" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("labels_consensus.csv", CONSENSUS_CSV.replace('"C"', '"Q"'),
         r"labels_consensus.csv, row 3: 'MSP-PODCAST_0001_0019.wav' has the class 'Q', which is none of A, .*correct"),
        ("labels_consensus.csv", CONSENSUS_CSV.replace("EmoClass", "Emotion"), "no column EmoClass; use the file as"),
        ("labels_detailed.csv", columns("WorkerID").replace("WorkerID", "Who"), "no column WorkerID, only FileName"),
        ("labels_detailed.csv", columns("WorkerID").replace('"WORKER00000004"', '""'),
         "labels_detailed.csv, row 10: it does not say which worker heard which emotion in which file; use the file"),
        ("labels_detailed.csv", columns("WorkerID") + "x,y\n", "row 11: it has 2 cells, and the header has 4; add"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named_with_its_cure(podcast, name, text, fault):
    with pytest.raises(CorpusError, match=fault):
        corpora.read(podcast(RELEASES["2.0"] | {f"Labels/{name}": text}))


def test_a_missing_file_is_named(podcast, tmp_path):
    with pytest.raises(CorpusError, match=r"no Labels/labels_detailed.csv or .json in it; msp_podcast needs Audios/"):
        corpora.read(podcast({"Labels/labels_consensus.csv": CONSENSUS_CSV}))
    (tmp_path / "Audios" / f"{FILES[0]}.wav").unlink()
    with pytest.raises(CorpusError, match=rf"row 2: utterance '{FILES[0]}' refers to the file .*, which does not ex"):
        corpora.read(podcast(RELEASES["2.0"]))


def test_damaged_json_is_named_with_its_line(podcast):
    with pytest.raises(CorpusError, match=r"labels_detailed.json, row 1: it is no JSON from here on .*; copy it again"):
        corpora.read(podcast(RELEASES["JSON"] | {"Labels/labels_detailed.json": '{"a": '}))
    with pytest.raises(CorpusError, match=r"'W' of 'a.wav' has no EmoClass_Major; use the file as released"):
        corpora.read(podcast(RELEASES["JSON"] | {"Labels/labels_detailed.json": '{"a.wav": {"W": {"EmoAct": 1}}}'}))
