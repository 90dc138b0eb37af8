"""The version of the code and packages that made a result."""

from ipr_core.runs import provenance


def test_the_version_changes_with_code_and_not_with_comments(tmp_path, monkeypatch):
    def code(text):
        (tmp_path / "a.py").write_text(text, "utf-8")
        return provenance._code(tmp_path / "a.py")

    assert code('"""Doc."""\nx = 1  # why\n') == code('"""Other."""\n\n\nx = 1\n')
    assert code("x = 1") != code("x = 2")


def test_the_version_is_that_of_what_training_needs():
    modules = set(provenance._imported_files("ipr_core.training.advance"))
    assert {
        "ipr_core.training.loop",
        "ipr_core.method.systems.ipr",
        "ipr_core.method.systems.pico",
        "ipr_core.encoders.pretrained",
        "ipr_core.data.corpora.synthetic",
        "ipr_core.data.corpora.iemocap",
    } <= modules
    assert not modules & {
        "ipr_core.cli",
        "ipr_core.batch.plan",
        "ipr_core.results.summary",
        "ipr_core.results.report",
        "ipr_core.batch.notebooks",
    }


def test_a_package_of_another_version_is_another_version(monkeypatch):
    version = provenance.version_now()
    monkeypatch.setattr(provenance, "_installed", lambda package: "0" if package == "torch" else "1")
    assert provenance.version_now() != version
