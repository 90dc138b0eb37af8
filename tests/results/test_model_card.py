"""The card of an exported model."""

from huggingface_hub import ModelCard

from ipr_core.results import model_card


def test_the_card_says_what_the_model_is_of(trained, tmp_path):
    model_card.write(trained, tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.pipeline_tag == "audio-classification"
    assert "ipr" in card.data.tags
    counts = trained.table["part"].value_counts()
    for part, count in counts.items():
        assert f"| {part} | {count} |" in card.text
    assert f"names the emotion of {100 * trained.history()[-1].accuracy:.1f} % of them" in card.text
    assert "The votes are those of the corpus's annotators" in card.text
    assert "angry, happy, sad, neutral" in card.text
    assert "{{" not in card.text
    assert "speakers" not in card.text.split("```")[1], "only a centred model wants to know who speaks"


def test_a_card_that_somebody_wrote_is_left(trained, tmp_path):
    (tmp_path / "README.md").write_text("my own")
    model_card.write(trained, tmp_path)
    assert (tmp_path / "README.md").read_text() == "my own"
