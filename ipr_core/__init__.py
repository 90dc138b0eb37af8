"""The core of the IPR workbench: iterative prototype refinement for ambiguous speech emotion recognition."""

import os

# Nothing is downloaded unless the user says so, by HF_HUB_OFFLINE=0; set before anything imports huggingface_hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
