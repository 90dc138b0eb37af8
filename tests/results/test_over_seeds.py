"""Tables over seeds, from run folders written by hand."""

import dataclasses
import math

import numpy as np
import pytest

from helpers.fake_runs import fake_run
from helpers.whole_runs import unvouched
from ipr_core import metrics
from ipr_core.results import over_seeds, significance, soft_labels, summary
from ipr_core.training.advance import advance, prepare

SYSTEMS = {"ipr": (0.60, 0.80), "baseline": (0.50, 0.60), "supervised": (0.9, 0.9)}


@pytest.fixture
def make(frozen, data, tmp_path):
    """System, seed, accuracies of the epochs → a finished run."""

    def make(system, seed, *accuracies, stream=0, settings=None, utterances=data, **options):
        config = frozen.replace(system=system, seed=seed, stream=stream, **settings or {})
        return fake_run(tmp_path, config, utterances, accuracies, **options)

    return make


@pytest.fixture
def campaign(make):
    return [make(name, seed, 0.2, score) for name, scores in SYSTEMS.items() for seed, score in enumerate(scores)]


def row(table, system):
    (values,) = table.values[table.values["system"] == system].to_dict("records")
    return values


def test_systems_are_in_their_order_with_mean_and_deviation_of_the_final_epoch(campaign):
    table = over_seeds.systems(campaign)
    assert table.values["system"].tolist() == ["baseline", "IPR", "supervised"]
    assert row(table, "IPR")["Acc D3 %"] == pytest.approx(70)
    assert row(table, "IPR")["Acc D3 % ±"] == pytest.approx(np.std([60, 80], ddof=1))
    assert table.texts["Acc D3 %"].tolist() == ["55.0 ± 7.1", "70.0 ± 14.1", "90.0 ± 0.0"]


def test_moves_are_counted_over_the_epochs_of_the_refinement(frozen, data, views, tmp_path, campaign):
    assert over_seeds.moves(campaign).values.empty  # of records that lack them
    config = frozen.replace(epochs=4, warm_up=1, gamma_per="epoch", gamma=0.2, after_warm_up="move")
    run = advance(prepare(config, tmp_path / "moving", data=data)[0], data, views=views)
    changed = sum(event.labels_changed or 0 for event in run.history())
    values = row(over_seeds.moves([run, *campaign]), "IPR")
    assert values["of labels"] == 3 * len(data.rows("D2"))
    assert values["labels changed"] == changed
    assert values["changed, %"] == pytest.approx(100 * changed / values["of labels"])
    assert values["largest angle, degrees"] == max(max(event.angles) for event in run.history()[1:])
    assert "baseline" not in over_seeds.moves([run, *campaign]).values["system"].tolist()


def test_means_are_over_seeds_and_partitions_with_the_spread_of_each(make, data):
    second = dataclasses.replace(data, table=data.table.assign(share=data.table["share"] / 2))
    runs = [make("ipr", seed, 0.2, score) for seed, score in enumerate((0.5, 0.6, 0.7))]
    options = dict(utterances=second, settings={"data_seed": 1})
    runs += [make("ipr", seed, 0.2, score, **options) for seed, score in enumerate((0.7, 0.9))]
    table = over_seeds.systems(runs)
    values = row(table, "IPR")
    assert (values["seeds"], values["partitions"], values["runs"]) == (3, 2, 5)
    assert values["Acc D3 %"] == pytest.approx((60 + 80) / 2)  # partitions count alike
    assert values["Acc D3 % ±"] == pytest.approx(math.sqrt((100 + 200) / 2))
    assert values["Acc D3 % ± partitions"] == pytest.approx(math.sqrt(200))
    assert table.texts["Acc D3 %"].tolist() == ["70.0 ± 12.2 / 14.1"]
    assert "seeds 0, 1, 2, 2 partitions (`data_seed` 0, 1): corpus" in over_seeds.circumstances(runs)
    runs.append(make("supervised", 0, 0.2, 0.9))
    frame = over_seeds.paper(runs).values.set_index("system")
    assert frame[["seeds", "partitions", "runs"]].loc["supervised"].tolist() == [1, 1, 1]
    assert frame[["seeds", "partitions", "runs"]].loc["baseline"].tolist() == [0, 0, 0]
    texts = summary.score_rows(runs).set_index("system")
    assert texts.loc["IPR", "Acc D3 %"] == "70.0 ± 12.2 / 14.1"
    assert texts.loc[["IPR", "supervised"], ["seeds", "partitions", "runs"]].to_numpy().tolist() == [[3, 2, 5], [1] * 3]


def test_systems_have_accuracy_on_d1_and_an_interval(make, data):
    runs = [make("ipr", seed, 0.2, 0.5, right=np.arange(len(data.rows("D3"))) != seed) for seed in range(2)]
    values = row(over_seeds.systems(runs), "IPR")
    assert values["Acc D1 %"] == 100
    assert values["95 % interval"] == str(significance.accuracy_interval(*runs))


def test_held_out_parts_are_named_and_are_no_part_of_d1_or_d2(make, data):
    table = data.table.copy()
    held_out = {part: table.index[table["part"] == part][:2] for part in ("D1", "D2")}
    for part, rows in held_out.items():
        table.loc[rows, "part"] = part.replace("D", "V")
    run = make("ipr", 0, 0.2, 0.5, utterances=dataclasses.replace(data, table=table))
    sizes = {part: int((table["part"] == part).sum()) for part in ("D1", "D2", "D3", "V1", "V2")}
    words = ", ".join(f"{part} {size}" for part, size in sizes.items())
    assert f"({words}; votes are the corpus's own)" in over_seeds.circumstances([run])
    assert row(over_seeds.systems([run]), "IPR")["Acc D1 %"] == 100
    assert set(over_seeds.soft([run]).values["part"]) == {"D2", "D3", "D2 and D3"}


def test_one_seed_has_no_deviation(make):
    assert over_seeds.systems([make("ipr", 0, 0.2, 0.5)]).texts["Acc D3 %"].tolist() == ["50.0"]


def test_another_stream_and_unfinished_runs_do_not_count(campaign, make):
    stream, unfinished = make("ipr", 0, 0.2, 0.1, stream=1), make("ipr", 5, 0.2, 0.1)
    (unfinished.folder / "labels.csv").unlink()
    table = over_seeds.systems([*campaign, stream, unfinished])
    assert table.values.drop(columns="noise").equals(over_seeds.systems(campaign).values.drop(columns="noise"))
    assert over_seeds.systems(campaign).texts["noise"].tolist() == ["unknown"] * 3
    assert table.texts["noise"].tolist() == ["unknown", "50.0", "unknown"]  # from 60 to 10


def test_the_papers_figures_stand_beside_ours(campaign):
    table = over_seeds.paper(campaign)
    assert table.values["paper"].tolist() == [64.25, 66.85, 70.75, 72.30]
    assert row(table, "IPR")["over baseline, here"] == pytest.approx(15)
    assert row(table, "IPR")["over baseline, paper"] == pytest.approx(6.5)
    absent = row(table, "baseline+")
    assert absent["seeds"] == 0
    assert math.isnan(absent["here"])
    assert "another corpus (synthetic, not IEMOCAP-4) and another encoder (compact" in table.caption
    assert table.texts["over baseline, paper"].tolist() == ["", "+2.60", "+6.50", "+8.05"]


def test_recall_by_class_is_by_row_of_the_confusion(make):
    counts = [[3, 1, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
    second = [[4, 0, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0], [0, 0, 0, 4]]
    runs = [make("ipr", seed, 0.1, 0.2, confusion=rows) for seed, rows in enumerate((counts, second))]
    recalls = row(over_seeds.recalls(runs), "IPR")
    assert (recalls["angry"], recalls["happy"], recalls["neutral"]) == (87.5, 50, 62.5)
    assert recalls["angry ±"] == pytest.approx(np.std([75, 100], ddof=1))
    assert "sad" not in recalls  # no utterance of D3 has that label


def test_soft_labels_are_judged_on_what_no_system_was_told(make, data):
    runs = [make("ipr", 0, 0.1, 0.2, soft=data.mixtures)]
    table = over_seeds.soft(runs)
    assert table.name == "soft_labels"
    d3 = data.rows("D3")
    expected = metrics.soft_scores(data.mixtures[d3], data.votes[d3])
    (judged,) = table.values.query("system == 'IPR' and part == 'D3'").to_dict("records")
    for name, title in over_seeds.SOFT.items():
        assert judged[title] == pytest.approx(expected[name], rel=1e-6), name
    (plain,) = table.values.query(f"system == '{soft_labels.UNIFORM}' and part == 'D3'").to_dict("records")
    assert plain["AUPRC"] == pytest.approx(plain["without majority"])  # labels that know nothing find by chance
    assert plain["NLL, nats"] == pytest.approx(math.log(4))
    assert list(table.values["part"].unique()) == ["D2", "D3", "D2 and D3"]


def test_simulated_votes_have_a_name_that_says_so(make):
    table = over_seeds.soft([make("ipr", 0, 0.1, 0.2, simulated=True)])
    assert table.name == "soft_labels_simulated_votes"
    assert "SIMULATED" in table.caption


def test_unknown_votes_are_said(make):
    run = make("ipr", 0, 0.1, 0.2)
    unvouched(run, "corpus.parquet")
    run.table.assign(votes_unknown=1.0).to_parquet(run.folder / "corpus.parquet")
    table = over_seeds.soft([run])
    assert table.values.empty
    assert "votes for each class are not known" in table._repr_html_()


def test_cost_is_read_from_the_records_clock(campaign):
    table = over_seeds.cost(campaign)
    cost = row(table, "IPR")  # two epochs: 1,800 s each, of these 1,000 s of training at 2 s of audio a second
    assert cost["wall time, h"] == pytest.approx(1)
    assert cost["audio trained on, s"] == pytest.approx(4000)
    assert (cost["GPU, s"], cost["CPU, s"]) == (0, 3600)
    assert cost["peak memory, MB"] == 101
    assert "trained parameters" not in cost  # of runs that version 0.1 made
    campaign[0].keep(1, None, 1_234)
    texts = over_seeds.cost(campaign).texts.set_index("system")["trained parameters"]
    assert texts.to_dict() == {"baseline": "", "IPR": "1234", "supervised": "", "all together": ""}
    total = row(table, "all together")
    assert (total["seeds"], total["wall time, h"], total["peak memory, MB"]) == (2, pytest.approx(6), 101)
    assert (cost["training, s"], total["training, s"]) == (2000, 12000)


def test_curves_have_mean_and_deviation_in_every_epoch(campaign):
    spread = over_seeds.over_epochs(campaign, "accuracy")
    assert list(dict.fromkeys(spread["system"])) == ["baseline", "ipr", "supervised"]
    curve = spread[spread["system"] == "ipr"]
    assert curve["epoch"].tolist() == [0, 1]
    assert curve["mean"].tolist() == pytest.approx([20, 70])
    assert curve["deviation"].tolist() == pytest.approx([0, np.std([60, 80], ddof=1)])
    assert over_seeds.over_epochs(campaign, "gate").empty  # never known


def test_the_circumstances_name_the_runs_and_those_left_out(campaign, make):
    variations = [make("ipr", seed, 0.1, 0.2, settings={"gamma": 0.5}) for seed in range(9)]
    text = over_seeds.circumstances(campaign, [*variations, *campaign])
    assert "**6 runs**, 3 systems, seeds 0, 1" in text
    assert "9 more finished runs" in text
    assert "votes are the corpus's own" in text


def test_simulated_annotators_and_no_run_are_said(make):
    assert "**simulated annotators'**" in over_seeds.circumstances([make("ipr", 0, 0.1, simulated=True)])
    assert "ipr batch table3" in over_seeds.circumstances([])


def test_corpus_and_encoder_of_the_paper_need_no_warning(make, tmp_path):
    run = make("ipr", 0, 0.1)
    assert "may not" in over_seeds.unlike_paper(run)
    settings = run.meta["settings"] | {"corpus": "iemocap", "encoder": "facebook/wav2vec2-base"}
    run._write_meta(run.meta | {"settings": settings})
    assert over_seeds.unlike_paper(run) == "Corpus and family of the encoder are the paper's."


@pytest.mark.parametrize(
    "make",
    [over_seeds.systems, over_seeds.paper, over_seeds.recalls, over_seeds.soft, over_seeds.cost, over_seeds.moves],
)
def test_no_run_is_a_sentence_not_a_traceback(make):
    table = make([])
    assert table.values.empty
    assert "ipr batch table3" in table._repr_html_()
