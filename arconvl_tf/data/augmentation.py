"""Augmentation by name, vectorised over the batch: functions of a batch and a seed."""

import numpy as np
import tensorflow as tf

PAPER_SHIFT = 3
LIGHT_SHIFT = 0.1  # of height and width
LIGHT_BRIGHTNESS = 0.2  # of the range of pixels
LIGHT_CONTRAST = (0.8, 1.25)
ERASED_AREA = (0.02, 0.4)
ERASED_ASPECT = (0.3, 1 / 0.3)
ERASING_TRIES = 32


def paper_augmentation(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Shifts, flips and erases every image of a batch.

    Integer shifts of up to 3 pixels in each axis (nearest fill), a horizontal flip of every second image by chance,
    then random erasing: a rectangle of 2–40 % of the area and an aspect ratio of 0.3–3.33, drawn again until it fits,
    filled with uniform noise for each pixel and channel.

    Args:
        images: uint8 tensor, shape (n, height, width, channels).
        seed: two integers; the same seed gives the same batch, bit for bit.

    Returns:
        uint8 tensor of the same shape.

    Example:
        >>> images = tf.random.stateless_uniform([4, 8, 8, 1], [0, 0], 0, 256, tf.int32)
        >>> first, again = (paper_augmentation(tf.cast(images, tf.uint8), [1, 2]) for _ in range(2))
        >>> bool(tf.reduce_all(first == again))
        True
    """
    seeds = tf.unstack(tf.random.split(seed, 4))
    moved = _random_flip(_random_shift(images, seeds[0], [PAPER_SHIFT, PAPER_SHIFT]), seeds[1])
    return _random_erasing(moved, seeds[2], seeds[3])


def light_augmentation(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """For own pictures of most subjects, whatever their size.

    Shifts of up to a tenth of height and width (nearest fill), a horizontal flip of every second image by chance,
    brightness moved by up to a fifth of the range and contrast by a factor of 0.8–1.25, one draw for each image.

    Args, Returns: as for `paper_augmentation`.

    Example:
        >>> light_augmentation(tf.zeros([4, 8, 8, 1], tf.uint8), [1, 2]).shape
        TensorShape([4, 8, 8, 1])
    """
    shift_seed, flip_seed, light_seed = tf.unstack(tf.random.split(seed, 3))
    max_shift = tf.cast(LIGHT_SHIFT * tf.cast(tf.shape(images)[1:3], tf.float32), tf.int32)
    return _random_light(_random_flip(_random_shift(images, shift_seed, max_shift), flip_seed), light_seed)


def _random_shift(images, seed, max_shift):
    """Moves every image by up to `max_shift` = (rows, columns), of random sign."""
    count, height, width = tf.unstack(tf.shape(images)[:3])
    size_seed, sign_seed = tf.unstack(tf.random.split(seed, 2))
    choices = tf.cast(tf.reshape(max_shift, [2, 1, 1]) + 1, tf.float32)
    size = tf.cast(tf.random.stateless_uniform([2, count, 1], size_seed) * choices, tf.int32)
    sign = 2 * tf.random.stateless_uniform([2, count, 1], sign_seed, 0, 2, tf.int32) - 1
    rows = tf.clip_by_value(tf.range(height) + (size * sign)[0], 0, height - 1)
    columns = tf.clip_by_value(tf.range(width) + (size * sign)[1], 0, width - 1)
    shifted = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(shifted, columns, axis=2, batch_dims=1)


def _random_light(images, seed):
    brightness_seed, contrast_seed = tf.unstack(tf.random.split(seed, 2))
    shape = [tf.shape(images)[0], 1, 1, 1]
    brightness = 255 * tf.random.stateless_uniform(shape, brightness_seed, -LIGHT_BRIGHTNESS, LIGHT_BRIGHTNESS)
    contrast = tf.exp(tf.random.stateless_uniform(shape, contrast_seed, *np.log(LIGHT_CONTRAST)))
    pixels = tf.cast(images, tf.float32)
    mean = tf.reduce_mean(pixels, axis=[1, 2, 3], keepdims=True)
    return tf.cast(tf.clip_by_value(tf.round((pixels - mean) * contrast + mean + brightness), 0, 255), images.dtype)


def _random_flip(images, seed):
    flip = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed) < 0.5
    return tf.where(flip, tf.reverse(images, axis=[2]), images)


def _random_erasing(images, seed, noise_seed):
    count, height, width = tf.unstack(tf.shape(images)[:3])
    image_size = tf.cast(tf.stack([height, width]), tf.float32)

    # All tries at once; each image takes its first rectangle that fits inside it.
    area_seed, aspect_seed, place_seed = tf.unstack(tf.random.split(seed, 3))
    shape = [count, ERASING_TRIES]
    area = tf.random.stateless_uniform(shape, area_seed, *ERASED_AREA) * tf.reduce_prod(image_size)
    aspect = tf.random.stateless_uniform(shape, aspect_seed, *ERASED_ASPECT)
    sizes = tf.floor(tf.stack([tf.sqrt(area * aspect), tf.sqrt(area / aspect)], axis=-1))
    places = tf.floor(tf.random.stateless_uniform([*shape, 2], place_seed) * image_size)
    fits = tf.reduce_all(places + sizes <= image_size, axis=-1)
    first = tf.argmax(fits, axis=1)
    top_left = tf.gather(places, first, batch_dims=1)
    bottom_right = top_left + tf.gather(sizes, first, batch_dims=1)

    rows = tf.range(tf.cast(height, tf.float32))
    columns = tf.range(tf.cast(width, tf.float32))
    inside_rows = (rows >= top_left[:, :1]) & (rows < bottom_right[:, :1])
    inside_columns = (columns >= top_left[:, 1:]) & (columns < bottom_right[:, 1:])
    erased = inside_rows[:, :, None, None] & inside_columns[:, None, :, None]
    # tf.random has no stateless uint8; four pixels come out of every 32-bit draw.
    num_bytes = tf.size(images)
    draws = tf.random.stateless_uniform([(num_bytes + 3) // 4], noise_seed, None, None, tf.int32)
    noise = tf.reshape(tf.reshape(tf.bitcast(draws, tf.uint8), [-1])[:num_bytes], tf.shape(images))
    return tf.where(erased, noise, images)


AUGMENTATIONS = {"none": None, "light": light_augmentation, "paper": paper_augmentation}
