"""Votes by annotator: votes.csv beside a manifest, readers that name who voted, and votes by their weight."""

import numpy as np
import pandas as pd
import pytest

from helpers.corpus_files import votes_of, wav
from ipr_core.config import Data
from ipr_core.data import corpora, raters
from ipr_core.data.corpora.table import CorpusError

MANIFEST = "id,path\na1,a.wav\nb1,b.wav\nc1,c.wav\n"
VOTES = "id,annotator,label\na1,ada,happy\na1,ben,sad\na1,cem,happy\nb1,ada,sad\nb1,ben,sad\nc1,cem,other\nc1,ada,sad\n"


@pytest.fixture
def corpus(tmp_path):
    """Return a function from the texts of manifest and votes to the settings that read them."""
    for name in "abc":
        wav(tmp_path / f"{name}.wav")

    def write(votes=VOTES, manifest=MANIFEST, **settings):
        (tmp_path / "manifest.csv").write_text(manifest, "utf-8")
        (tmp_path / "votes.csv").write_text(votes, "utf-8")
        return Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.csv"), **settings)

    return write


def faults_of(data):
    with pytest.raises(CorpusError) as caught:
        corpora.read(data)
    return [str(fault) for fault in caught.value.faults]


# votes.csv.


def test_votes_beside_a_manifest_are_counted(corpus, caplog):
    caplog.set_level("INFO")
    table = corpora.read(corpus())
    assert "votes.csv: 7 votes of 3 annotators" in caplog.text
    assert votes_of(table, "a1") == {"happy": 2, "sad": 1}
    assert votes_of(table, "b1") == {"sad": 2}
    assert votes_of(table, "c1") == {"other": 1, "sad": 1}
    assert list(table["label"]) == ["happy", "sad", "sad"]


def test_they_keep_their_annotators(corpus):
    votes = corpora.votes(corpus())
    assert list(votes["annotator"]) == ["ada", "ben", "cem", "ada", "ben", "cem", "ada"]
    assert set(votes["weight"]) == {1.0}
    assert corpora.votes(Data(corpus="synthetic", synthetic_size=40)) is None


def test_a_weight_counts_and_several_emotions_are_whole_votes_or_parts_of_one(corpus):
    weighted = "id;annotator;label;weight\na1;ada;happy;0,5\na1;ada;sad;0,5\nb1;;sad;3\nb1;ben;angry;\nc1;ada;sad;1\n"
    table = corpora.read(corpus(weighted))
    assert votes_of(table, "a1") == {"happy": 0.5, "sad": 0.5}
    assert votes_of(table, "b1") == {"sad": 3, "angry": 1}  # three annotators without a name, and one with
    tags = "id,annotator,label\na1,ada,happy\na1,ada,sad\nb1,ben,sad\nc1,cem,sad\n"
    assert votes_of(corpora.read(corpus(tags)), "a1") == {"happy": 1, "sad": 1}
    assert votes_of(corpora.read(corpus(tags, several_tags="split")), "a1") == {"happy": 0.5, "sad": 0.5}


def test_excited_is_happy_among_named_votes_too(corpus):
    data = corpus("id,annotator,label\na1,ada,excited\na1,ben,happy\nb1,ben,sad\nc1,cem,sad\n")
    assert votes_of(corpora.read(data), "a1") == {"happy": 2}
    assert list(corpora.votes(data)["label"]) == ["happy", "happy", "sad", "sad"]
    unmerged = data.model_copy(update={"merge_excited": False})
    assert votes_of(corpora.read(unmerged), "a1") == {"excited": 1, "happy": 1}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("a2,ada,sad", "votes.csv, row 9: a vote is for 'a2', which is no id of the manifest's (did you mean 'a1'?); "
                       "write the id as there, or take the vote out"),
        ("a1,ada,happy", "votes.csv, row 9: 'ada' votes twice that 'a1' is happy, first in row 2; keep one"),
        ("b1,cem,hapy", "votes.csv, row 9: the vote of 'cem' has the unknown label 'hapy'; did you mean 'happy'? It "),
        ("b1,cem,", "votes.csv, row 9: the vote of 'cem' has no label; take the row out: who cannot tell gives"),
        ("b1,cem", "votes.csv, row 9: it has 2 cells, and the header has 3; add the missing ones"),
    ],
)  # fmt: skip
def test_a_faulty_vote_has_its_row_and_a_cure(corpus, row, fault):
    faults = faults_of(corpus(f"{VOTES}{row}\n"))
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_every_faulty_vote_is_named_at_once_and_many_of_a_kind_together(corpus):
    rows = "".join(f"x{i},ada,sad\n" for i in range(40)) + "a1,dan,hapy\n"
    with pytest.raises(CorpusError) as caught:
        corpora.read(corpus(VOTES + rows))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("40 times a vote for an utterance that is not there; the first: votes.csv, row 9: ")


@pytest.mark.parametrize("weight", ["heavy", "-1", "nan", "inf"])
def test_a_weight_is_a_number(corpus, weight):
    faults = faults_of(corpus(f"id,annotator,label,weight\na1,ada,sad,{weight}\nb1,ada,sad,1\nc1,ada,sad,1\n"))
    assert f"votes.csv, row 2: the weight of the vote is '{weight}'; a weight is a number, 0 or more" in faults[0]


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (
            "id,rater,label",
            "votes.csv, row 1: it has no column 'annotator', only id, rater, label; name 'rater' so, if",
        ),
        ("path,annotator,emotion", "it has no column 'id', only path, annotator, emotion; name 'path' so, if it holds"),
        ("x,y,z", "it has no column 'label', only x, y, z; add it; or give the file another name, if it does not hold"),
        ("id,annotator,label,count", "column 'count' looks like 'weight'; did you mean 'weight'? Name it so"),
    ],
)
def test_columns_have_their_names(corpus, header, fault):
    row = "a1,ada,sad" + ",1" * (header.count(",") - 2)
    assert fault in "\n".join(faults_of(corpus(f"{header}\n{row}\n")))


def test_counts_in_the_manifest_are_those_of_the_votes(corpus):
    header = "id,path,votes_happy,votes_sad,votes_other\n"
    agreeing = f"{header}a1,a.wav,2,1,0\nb1,b.wav,,2,\nc1,c.wav,,1,1\n"
    assert votes_of(corpora.read(corpus(manifest=agreeing)), "a1") == {"happy": 2, "sad": 1}
    differing = agreeing.replace("a.wav,2", "a.wav,3")
    assert faults_of(corpus(manifest=differing)) == [
        "manifest.csv, row 2: utterance 'a1' has 3 votes for happy, and votes.csv has 2; correct one; or take the "
        "columns votes_… out, since votes.csv counts alone"
    ]


def test_a_manifest_of_that_name_is_no_table_of_votes(tmp_path):
    wav(tmp_path / "a.wav")
    (tmp_path / "votes.csv").write_text("path,label,votes_sad\na.wav,sad,2\n")
    assert len(corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / "votes.csv")))) == 1


# Weights.


def simulated(rng, utterances=600, listeners=60, votes_each=5, careless=0.1):
    """Return shares (N, C) that are true, and votes of listeners, a tenth of whom click at random."""
    truth = rng.dirichlet([0.5] * 4, utterances)
    unit = np.repeat(np.arange(utterances), votes_each)
    rater = np.concatenate([rng.choice(listeners, votes_each, replace=False) for _ in range(utterances)])
    label = (rng.random(len(unit))[:, None] > truth[unit].cumsum(axis=1)).sum(axis=1)
    label = np.where(rater < careless * listeners, rng.integers(0, 4, len(unit)), label)
    names = np.array(["angry", "happy", "neutral", "sad"])
    votes = pd.DataFrame({"id": unit.astype(str), "annotator": rater.astype(str), "label": names[label], "weight": 1.0})
    return truth, votes


def js(p, q):
    """Return (N,) Jensen-Shannon divergences in bits."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.nansum(x * np.log2(x / middle), axis=1) for x in (p, q)]
    return (parts[0] + parts[1]) / 2


def shares(votes, utterances, **settings):
    table = pd.DataFrame({"id": [str(i) for i in range(utterances)]})
    table_of_votes = raters.with_votes(table, votes, Data(**settings))
    counts = table_of_votes[[f"votes_{name}" for name in ("angry", "happy", "neutral", "sad")]].to_numpy()
    return counts, counts / counts.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_votes_by_agreement_are_nearer_to_the_truth_where_some_listeners_are_careless(seed):
    truth, votes = simulated(np.random.default_rng(seed), careless=0.2)
    counts, equal = shares(votes, len(truth))
    weighed_counts, weighed = shares(votes, len(truth), vote_weights="agreement")
    assert js(weighed, truth).mean() < js(equal, truth).mean()
    assert weighed_counts.sum(axis=1) == pytest.approx(counts.sum(axis=1))  # as many votes as before


def test_an_annotators_agreement_leaves_the_own_votes_out():
    rows = [("u", "ada", "sad"), ("u", "ben", "sad"), ("u", "cem", "happy"), ("v", "ada", "sad"), ("w", "dan", "sad")]
    votes = pd.DataFrame([(*row, 1.0) for row in rows], columns=raters.COLUMNS)
    table = raters.agreement(raters.coded(votes))
    assert table["agreement"].to_dict() == pytest.approx({"ada": 0.5, "ben": 0.5, "cem": 0, "dan": np.nan}, nan_ok=True)
    assert table["votes"].to_dict() == {"ada": 2, "ben": 1, "cem": 1, "dan": 1}
    assert table["compared"].to_dict() == {"ada": 1, "ben": 1, "cem": 1, "dan": 0}


def test_a_careless_listener_weighs_less_and_votes_without_a_name_as_the_average():
    _, votes = simulated(np.random.default_rng(0))
    votes.loc[:20, "annotator"] = raters.UNNAMED
    weights = raters.weights(raters.coded(votes))
    signed = weights.drop("")
    careless = signed.index.astype(int) < 6
    assert signed[careless].max() < signed[~careless].min()
    assert signed.min() < weights[""] < signed.max()


def test_votes_that_nobody_signed_cannot_be_weighted(tmp_path):
    wav(tmp_path / "a.wav")
    (tmp_path / "manifest.csv").write_text("path,label,votes_sad\na.wav,sad,2\n")
    data = Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.csv"), vote_weights="agreement")
    assert "it is not known who gave the votes; set vote_weights to 'equal', or give a votes.csv" in faults_of(data)[0]
    assert len(corpora.read(data, labels_needed=False)) == 1  # to be labelled: its votes do not matter


# Corpora as released.


def test_cremad_participants_vote_by_name(tmp_path, caplog):
    caplog.set_level("INFO")
    wav(tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav")
    header = ',"A","D","F","H","N","S","fileName"\n'
    (tmp_path / "processedResults").mkdir()
    (tmp_path / "processedResults" / "tabulatedVotes.csv").write_text(f"{header}100001,2,0,0,0,1,0,1001_DFA_ANG_XX\n")
    names = ",localid,pos,ans,ttr,queryType,numTries,clipNum,questNum,subType,clipName,sessionNums,respEmo,respLevel"
    rows = [(1, "p1", 1, 1, "A"), (2, "p2", 1, 2, "A"), (3, "p3", 1, 3, "N"), (4, "p4", 1, 4, "S"),
            (5, "p5", 2, 5, "F"), (6, "p1", 1, 1, "A")]  # fmt: skip
    lines = [f"{i},{participant},1,A_50,900,{kind},0,7,{i},4,1001_DFA_ANG_XX,{session},{emotion},50"
             for i, participant, kind, session, emotion in rows]  # fmt: skip
    (tmp_path / "finishedResponses.csv").write_text("\n".join([names, *lines, ""]))
    times = ",localid,sessionNums,queryType,questNum,pos,ttr,numTries,clipNum,clipName\n"
    (tmp_path / "finishedEmoResponses.csv").write_text(f"{times}1,p4,4,1,4,1,10001,0,7,1001_DFA_ANG_XX\n")
    data = Data(corpus="cremad", corpus_path=str(tmp_path))
    assert votes_of(corpora.read(data), "1001_DFA_ANG_XX") == {"angry": 2, "neutral": 1}
    votes = corpora.votes(data)  # p4 took too long, p5 saw the face alone, p1 is there twice
    assert list(zip(votes["annotator"], votes["label"], strict=True)) == [
        ("p1", "angry"), ("p2", "angry"), ("p3", "neutral"),
    ]  # fmt: skip
    assert "3 votes of 3 participants" in caplog.text
