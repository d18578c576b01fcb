"""FER2013-Candid in your own training: your fer2013.csv and a published split, nothing of Candid.

    parts = load_numpy("fer2013.csv", "manifests/fer2013/splits/clean-70-15-15.csv")
    faces, codes = parts["train"]        # and parts["val"], parts["test"]
    model.fit(load_keras(*parts["train"]), validation_data=load_keras(*parts["val"]))

Copy this file: it needs numpy and pandas, and Keras on TensorFlow or PyTorch where you use them.
"""

import hashlib

import numpy as np
import pandas as pd

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # codes 0 to 6
KEY = ["pixel_sha256", "given_label", "occurrence"]


def load_numpy(table, split):
    """Part -> faces (N, 48, 48) uint8 grey, and labels (N,) int64, codes; as the table has them."""
    faces, keys = read_faces(table)
    rows = find_rows(keys, split)
    codes = rows["label"].map({name: code for code, name in enumerate(CLASSES)})
    parts = {name: (rows["split"] == name).to_numpy() for name in ("train", "val", "test")}
    return {name: (faces[part], codes[part].to_numpy(np.int64)) for name, part in parts.items()}


def read_faces(table):
    """Faces (N, 48, 48) uint8 of fer2013.csv or icml_face_data.csv, and the KEY of each."""
    rows = pd.read_csv(table, skipinitialspace=True)
    faces = [np.fromstring(text, np.uint8, sep=" ").reshape(48, 48) for text in rows["pixels"]]
    digests = [hashlib.sha256(b"(48, 48)" + face.tobytes()).hexdigest() for face in faces]
    given = [CLASSES[code] for code in rows["emotion"]]
    keys = pd.DataFrame({"pixel_sha256": digests, "given_label": given})
    return np.stack(faces), keys.assign(occurrence=keys.groupby(KEY[:2]).cumcount())


def find_rows(keys, split):
    """label and split of each row of the table; missing where the split does not have it."""
    chosen = pd.read_csv(split, dtype={"pixel_sha256": str})
    digits = chosen["pixel_sha256"].str.len().max()  # the tables hold the first digits of a hash
    shortened = keys.assign(pixel_sha256=keys["pixel_sha256"].str[:digits])
    rows = shortened.merge(chosen, on=KEY, how="left", validate="1:1")
    if rows["split"].count() < len(chosen):
        raise ValueError(
            f"{split}: {len(chosen) - rows['split'].count():,} of its faces are missing"
        )
    return rows


def load_keras(faces, codes, batch=128):
    """Batches for `model.fit`, shuffled: images (B, 48, 48, 1) float32, 0-1, and codes (B,)."""
    import tensorflow as tf

    images = faces[..., None].astype(np.float32) / 255
    rows = tf.data.Dataset.from_tensor_slices((images, codes))
    return rows.shuffle(len(codes)).batch(batch)


def load_torch(faces, codes):
    """A data set for `DataLoader(…, batch_size=128, shuffle=True)`: (1, 48, 48) float32, 0-1."""
    import torch

    images = torch.from_numpy(faces[:, None].astype(np.float32) / 255)
    return torch.utils.data.TensorDataset(images, torch.from_numpy(codes))
