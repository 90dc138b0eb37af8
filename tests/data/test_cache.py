"""The cache's folder."""

from pathlib import Path

from ipr_core.data.cache import default_cache


def test_the_cache_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("IPR_CACHE")
    assert default_cache() == Path.home() / ".cache" / "ipr-workbench"
