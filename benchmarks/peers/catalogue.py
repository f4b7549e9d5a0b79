"""Which peers are measured, how each is made, and which could not be had."""

from __future__ import annotations

from typing import NamedTuple


class Peer(NamedTuple):
    """``packages``: what pip installs, pinned; ``bare``: those without what they ask for. ``options`` of the worker.

    ``protocol`` says what is measured, beside every figure of this peer.
    """

    worker: str
    packages: tuple[str, ...]
    protocol: str
    options: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


FER = "fer==25.10.3"
FER_NEEDS = (
    "tensorflow-cpu==2.20.0; platform_machine == 'x86_64'",
    "tensorflow==2.20.0; platform_machine != 'x86_64'",
    "opencv-contrib-python-headless==4.11.0.86",
    "requests==2.32.5",
    "setuptools==80.9.0",
)
"""What the classifier and the Haar path of fer import; the rest of what it asks for is PyTorch, pandas and moviepy."""

PEERS = {
    "fer-tflite": Peer(
        "fer_worker",
        FER_NEEDS,
        "fer's default: Haar (1.1, 5 neighbours, 50 px), 10 px around the box, grey 64 x 64, mini-Xception as TFLite",
        ("tflite",),
        (FER,),
    ),
    "fer-hdf5": Peer(
        "fer_worker",
        FER_NEEDS,
        "as fer-tflite, with mini-Xception as Keras hdf5, called eagerly as fer does",
        ("hdf5",),
        (FER,),
    ),
    "haar": Peer(
        "haar_worker",
        ("opencv-contrib-python-headless==4.11.0.86", "numpy<2.3"),
        "OpenCV's frontal face cascade alone: scale 1.1, 5 neighbours, 50 px",
    ),
    "vgg13": Peer(
        "vgg13_worker",
        ("onnx==1.23.2", "onnxruntime==1.31.1"),
        "the graph of emotion-ferplus (VGG13, 64 x 64) with random weights in onnxruntime: latency only, no accuracy",
    ),
}

NOT_MEASURED = {
    "HSEmotion (EmotiEffLib)": "its packages hold no weights; it downloads them when it runs",
    "DeepFace": "its package holds no weights; it downloads them when it runs",
    "emotion-ferplus weights": "in no package; only the graph is measured, with random weights (vgg13)",
    "MTCNN": "not built into this benchmark yet",
    "face-api, human (npm)": "not built into this benchmark yet",
}
"""What a reader would look for, and why it is not here. To be better than PEERS is not to be better than these."""
