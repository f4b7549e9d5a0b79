"""``python -m convert``: detector, tflite."""

from convert.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
