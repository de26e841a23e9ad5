"""The explainer as one ONNX file of standard operators: logits, source signal, attribution, contribution and map."""
