"""Tensors of a model's folder as NumPy arrays in float64, read in Python from the definition of safetensors."""
import glob

import numpy as np

import frames


def load(folder):
    out = {}
    for path in sorted(glob.glob(folder + "/*.safetensors")):
        for name, (dtype, shape, data) in frames.parse(open(path, "rb").read())[1].items():
            if dtype == "BF16":
                a = (np.frombuffer(data, "<u2").astype("u4") << 16).view("f4")
            else:
                a = np.frombuffer(data, {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1"}[dtype])
            out[name] = a.reshape(shape).astype("f8")
    return out
