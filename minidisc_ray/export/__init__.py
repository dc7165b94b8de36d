"""Exports of a finished model: ONNX, OpenVINO, int8, any size of its family, a model card, the hub."""
