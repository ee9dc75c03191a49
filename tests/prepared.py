"""Small data sets prepared for TensorFlow Datasets: real builders find them as they find downloaded ones."""

import pathlib

import tensorflow as tf


def prepare(name, folder, splits, num_shards=3):
    """Writes TFRecord shards and TFDS' own description of them.

    Args:
        name: TFDS' name of the data set.
        folder: `data_dir` of TFDS.
        splits: {split: [(example, times)]}: examples as the data set's features take them, each written so many times.
        num_shards: of every split.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=folder)
    directory = pathlib.Path(builder.data_dir)
    directory.mkdir(parents=True)
    infos = []
    for split, examples in splits.items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=directory, dataset_name=builder.name, split=split, filetype_suffix="tfrecord"
        )
        files = [str(path) for path in template.sharded_filepaths(num_shards)]
        writers = [tf.io.TFRecordWriter(file) for file in files]
        lengths = [0] * num_shards
        number = 0
        for example, times in examples:
            record = builder.info.features.serialize_example(builder.info.features.encode_example(example))
            for _ in range(times):
                writers[number % num_shards].write(record)
                lengths[number % num_shards] += 1
                number += 1
        for writer in writers:
            writer.close()
        num_bytes = sum(pathlib.Path(file).stat().st_size for file in files)
        infos.append(tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=num_bytes, filename_template=template))
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    builder.info.write_to_directory(builder.data_dir)


def celeb_a_example(image, *hair):
    """A CelebA example with the given hair attributes and no other."""
    import tensorflow_datasets as tfds

    features = tfds.builder_cls("celeb_a")(data_dir="/nonexistent").info.features
    example = {group: dict.fromkeys(features[group], 0) for group in ("landmarks", "identity")}
    attributes = dict.fromkeys(features["attributes"], False) | dict.fromkeys(hair, True)
    return {"image": image, "attributes": attributes, **example}
