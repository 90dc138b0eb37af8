"""Real checkpoints that a test reads where they are present."""

from pathlib import Path

WHISPER_TINY = Path(__file__).resolve().parents[3] / "shared" / "models" / "whisper-tiny-en-encoder"
