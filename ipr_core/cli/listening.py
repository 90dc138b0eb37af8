"""The command `ipr listen`: a listening test in a browser, for a listener who does not program.

Voilà serves a notebook of one cell as a page. It hides the cell, and its server runs no code that a page sends: a page
may talk to widgets alone.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from ipr_core.cli.arguments import check_places, typed
from ipr_core.config import SettingsError, build
from ipr_core.options import Args

_CELL = "from ipr_widgets.listening import listen\n\nlisten(**{arguments!r})"
_LOOPBACK = "127.0.0.1"
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; connect-src 'self' blob: data:"
    " ws://127.0.0.1:*; frame-ancestors 'self'"
)
"""The page asks no other host: Voilà's own template would fetch icons from one, which nothing here shows."""
_TRANSPORT = [] if sys.platform == "win32" else ["--KernelManager.transport=ipc"]
"""Socket files in a folder of this user's alone: no other user of the machine reaches the kernel."""
_CONFIGURATION = [f"--VoilaConfiguration.{name}" for name in ("strip_sources=True", "show_tracebacks=False")]
"""Whatever a file of the user's own sets: neither code nor an error with a file's name is shown."""


def listen(args: Args) -> int:
    """Serve a listening test of a corpus as a page: one clip at a time, votes by key or click.

    The corpus may have no labels. Every vote is on disk, in a file of the listener's own, before the next clip plays.
    The page is served on loopback alone, at an address that holds a secret. End the command with Ctrl+C; called again,
    it goes on with the next clip.
    """
    from ipr_core.data.faults import number_of
    from ipr_core.votes import clips, record

    settings, run = typed(args), clips.run_of(args.path)
    if run and settings:
        raise SettingsError([f"{args.path} is a run, which has its own settings: leave out {', '.join(settings)}"])
    if args.next == "most-useful" and not run:
        raise SettingsError([f"{args.path} is no run, and only a run can say which clips are the most useful"])
    if run:
        data = run.config.data
    elif "corpus" in settings:
        data = build(settings=settings | {"corpus_path": args.path}).data
    else:
        data = clips.corpus(args.path, settings)
    record.check_name(args.listener)
    record.read(args.votes, args.listener)  # a damaged file is refused now rather than in the page
    check_places(args.votes)
    sounds = clips.read(data)  # every fault is said here, and the page finds all sounds decoded
    print(f"{number_of(len(sounds.ids), 'clip')}; votes go to {args.votes / f'{args.listener}.jsonl'}")
    corpus = data.model_dump(mode="json")
    for name, path in (("corpus_path", data.corpus_path), ("corpus", data.corpus)):
        if path and (name == "corpus_path" or path.endswith(".toml")):  # the page's kernel works in another folder
            corpus[name] = str(Path(path).expanduser().resolve())
    votes = str(args.votes.expanduser().resolve())
    test = dict(listener=args.listener, votes=votes, seed=args.seed, repeats=args.repeats, live=True)
    if run:
        corpus = {"corpus": str(run.folder.resolve()), "next": args.next.replace("-", " ")}
    _serve(corpus | test, args.port, args.browser)
    return 0


def _serve(arguments: dict[str, Any], port: int | None, browser: bool) -> None:
    """Serve the page until Ctrl+C.  arguments: of `ipr_widgets.listening.listen`"""
    from tornado.ioloop import IOLoop
    from voila.app import Voila

    port, token = port or _free_port(), secrets.token_urlsafe(24)
    address = f"http://{_LOOPBACK}:{port}/?token={token}"
    with tempfile.TemporaryDirectory(prefix="ipr-listen-", ignore_cleanup_errors=True) as folder:
        notebook = Path(folder, "Listening test.ipynb")
        _write_notebook(notebook, arguments)
        IOLoop.current().add_callback(_invite, address, browser)  # called once the server listens
        settings = {"headers": {"Content-Security-Policy": _POLICY}, "ws_ping_timeout": 30_000}
        options: dict[str, Any] = dict(ip=_LOOPBACK, port=port, port_retries=0, token=token, open_browser=False)
        options |= dict(tornado_settings=settings, log_level=logging.ERROR, root_dir=folder)
        with contextlib.suppress(KeyboardInterrupt):
            Voila.launch_instance([str(notebook), *_TRANSPORT, *_CONFIGURATION], **options)


def _invite(address: str, browser: bool) -> None:
    print(
        f"The test is at\n\n    {address}\n\nin a browser on this machine. Ctrl+C ends it; every vote is kept.",
        flush=True,
    )
    if browser:
        with contextlib.suppress(webbrowser.Error):
            webbrowser.get().open(address)


def _write_notebook(path: Path, arguments: dict[str, Any]) -> None:
    import nbformat
    from nbformat import v4

    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cell = v4.new_code_cell(_CELL.format(arguments=arguments))
    nbformat.write(v4.new_notebook(cells=[cell], metadata=kernel), path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return probe.getsockname()[1]
