"""The validation part: whole speakers or utterances of every class, always the same, never all of a class of D1."""

import numpy as np
import pytest
from pandas import DataFrame

from helpers.corpus_files import TWO
from ipr_core.config import SettingsError, paper, recommended
from ipr_core.data.ambiguity import partition

TRAINING = {"V1": "D1", "V2": "D2"}


def config(**settings):
    return recommended(**({"classes": TWO, "validation_share": 0.2} | settings))


def utterances(speakers, each=30, spoken=lambda speaker, label: True):
    """Return a table whose every speaker has `each` utterances: agreed, nearly agreed and not agreed ones."""
    rows = [
        dict(id=f"{speaker}-{i}", path=f"{speaker}-{i}.wav", speaker=speaker, label=TWO[i % 2],
             votes_angry=(10 - i // 2 % 6) if i % 2 == 0 else i // 2 % 6,
             votes_sad=(10 - i // 2 % 6) if i % 2 else i // 2 % 6)
        for speaker in speakers for i in range(each) if spoken(speaker, TWO[i % 2])
    ]  # fmt: skip
    return DataFrame(rows)


def without_validation(table):
    return table.assign(part=table["part"].replace(TRAINING))


def test_nothing_is_held_out_where_no_share_is_asked_for():
    t = utterances(["a", "b", "c", "d"])
    assert set(partition(t, config(validation_share=0.0))["part"]) == {"D1", "D2", "D3"}
    assert paper().partition.validation_share == 0


def test_whole_speakers_are_held_out_and_d3_stays():
    t = utterances([f"s{i}" for i in range(10)])
    result = partition(t, config())
    plain = partition(t, config(validation_share=0.0))
    assert without_validation(result).equals(plain)
    held_out = result[result["part"].isin(["V1", "V2"])]
    assert held_out["speaker"].nunique() == 2
    trained = result[result["part"].isin(["D1", "D2"])]
    assert not set(trained["speaker"]) & set(held_out["speaker"])


def test_utterances_of_every_class_are_held_out_where_speakers_are_not_known():
    result = partition(utterances([""], each=200), config())
    for part in ("V1", "V2"):
        counts = result["part"].value_counts()
        assert counts[part] / (counts[part] + counts[TRAINING[part]]) == pytest.approx(0.2, abs=0.04)
        assert set(result.loc[result["part"] == part, "label"]) == set(TWO)


def test_utterances_are_held_out_where_one_speaker_is_most_of_the_corpus():
    many = utterances(["a"], each=300)
    result = partition(many.assign(speaker=np.where(np.arange(300) < 2, "b", "a")), config())
    assert 0.1 < result["part"].isin(["V1", "V2"]).mean() < 0.25


def test_no_class_of_d1_is_held_out_whole():
    """Where only one speaker has a class, it must not be that speaker."""
    for seed in range(20):
        t = utterances([f"s{i}" for i in range(5)], spoken=lambda speaker, label: label != "sad" or speaker == "s0")
        result = partition(t, config(data_seed=seed))
        assert set(result.loc[result["part"] == "D1", "label"]) == set(TWO)
        assert result["part"].isin(["V1", "V2"]).any()


@pytest.mark.parametrize("speakers", [["a", "b", "c", "d", "e"], [""]])
def test_the_table_s_order_does_not_matter_and_the_seed_does(speakers):
    t = utterances(speakers, each=40)
    shuffled = t.sample(frac=1, random_state=1)
    first, second = (partition(table, config()).set_index("id")["part"] for table in (t, shuffled))
    assert first.sort_index().equals(second.sort_index())
    others = [partition(t, config(data_seed=seed)).set_index("id")["part"] for seed in range(8)]
    assert any(not first.equals(other) for other in others)


@pytest.mark.parametrize("speakers", [["a", "b", "c", "d", "e"], [""]])
def test_copies_of_a_sound_are_held_out_together(speakers):
    t = utterances(speakers, each=40)
    sounds = np.arange(len(t)) // 3
    result = partition(t, config(), sounds)
    numbers = dict(zip(t["id"], sounds, strict=True))
    held_out = {numbers[name] for name in result.loc[result["part"].isin(["V1", "V2"]), "id"]}
    trained = {numbers[name] for name in result.loc[result["part"].isin(["D1", "D2"]), "id"]}
    assert held_out
    assert not held_out & trained


def test_a_small_corpus_keeps_all_it_has():
    result = partition(utterances([""], each=12), config(validation_share=0.1))
    assert not result["part"].isin(["V1", "V2"]).any()


@pytest.mark.parametrize("share", [-0.1, 0.6, "half"])
def test_a_share_that_leaves_little_to_train_on_is_refused(share):
    with pytest.raises(SettingsError, match="validation_share"):
        config(validation_share=share)
