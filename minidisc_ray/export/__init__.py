"""A finished model in other tools' forms: ONNX, OpenVINO, int8, any size of its family, a model card, the hub."""
