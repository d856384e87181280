"""The local repository of a worker process: folder, configuration, images in memory."""
