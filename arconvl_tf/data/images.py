"""Pictures on disk."""

import pathlib

import tensorflow as tf

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def find_images(paths):
    """The picture files among `paths`; a folder stands for all pictures below it, sorted.

    Raises:
        ValueError: if a path does not exist or a folder holds no picture.
    """
    found = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
            if not below:
                raise ValueError(f"Expected pictures ({', '.join(IMAGE_SUFFIXES)}) in {path}. Received: a folder without any")
            found += below
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"Expected a picture or a folder of pictures. Received: {path}, which does not exist")
    return found


def read_image(path, image_shape):
    """Decodes a picture to the size and channels a model takes.

    Args:
        path: JPEG, PNG, GIF (its first frame) or BMP.
        image_shape: (height, width, channels); channels 1 turns colour into grey, 3 grey into colour.

    Returns:
        float32 tensor of that shape, 0–255.

    Raises:
        ValueError: if the file can't be read as a picture.
    """
    height, width, channels = image_shape
    try:
        pixels = tf.io.decode_image(tf.io.read_file(str(path)), expand_animations=False)
    except tf.errors.OpError as error:
        raise ValueError(f"Expected a JPEG, PNG, GIF or BMP picture. Received: {path}, which can't be decoded") from error
    pixels = pixels[..., : 3 if pixels.shape[-1] >= 3 else 1]  # without an alpha channel
    if channels == 1 and pixels.shape[-1] == 3:
        pixels = tf.image.rgb_to_grayscale(pixels)
    elif channels == 3 and pixels.shape[-1] == 1:
        pixels = tf.image.grayscale_to_rgb(pixels)
    if pixels.shape[:2] != (height, width):
        return tf.image.resize(pixels, (height, width), antialias=True)
    return tf.cast(pixels, tf.float32)
