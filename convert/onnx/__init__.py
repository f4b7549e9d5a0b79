"""ONNX graphs with Q/DQ nodes, and the rules that TensorRT and onnxruntime need."""
