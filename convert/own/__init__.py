"""Import of finished networks of other origin (Keras, TFLite, ONNX) as model folders."""
