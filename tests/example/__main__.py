"""Draw the finished example again from its record, or from a demo trained now: python -m example [--train]"""

import sys
import tempfile
from pathlib import Path

from example import figures, page, record
from ipr_core.config import demo
from ipr_core.training.advance import ProgressBar, advance, prepare


def main(train: bool) -> None:
    """Write figures and page; with `train` the record first."""
    with tempfile.TemporaryDirectory(prefix="ipr-") as folder:
        if train:
            run, data = prepare(demo(device="cpu"), folder)
            advance(run, data, watch=ProgressBar(run.config))
            record.write_record(run, data)
        run = record.read_run(Path(folder, "record"))
        figures.write_figures(figures.figures(run))
        page.write_page(run)
    print(f"{page.FILE}, and its figures in {record.FOLDER}")


if __name__ == "__main__":
    main("--train" in sys.argv[1:])
