"""How pictures enter a pretrained network."""

import keras
from keras import layers


def picture_input(image_shape):
    """A model's input for pictures in 0–255, and the same in colour: a grey channel repeated three times.

    Args:
        image_shape: (height, width, channels), with 1 or 3 channels; height and width may be None, which leaves them open.

    Returns:
        Keras tensors (n, height, width, channels) and (n, height, width, 3).

    Raises:
        ValueError: on any other shape.
    """
    shape = tuple(image_shape)
    sizes = [size for size in shape[:2] if size is not None]
    if len(shape) != 3 or shape[2] not in (1, 3) or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(
            "Expected `image_shape` as (height, width, channels), with 1 or 3 channels. Received: "
            f"image_shape={image_shape}. Convert other pictures to grey or RGB first"
        )
    images = keras.Input(shape, name="image")
    if shape[2] == 3:
        return images, images
    return images, layers.Concatenate(dtype="float32", name="grey_to_color")([images] * 3)
