"""Process the raws that appear in a folder, without broker, bucket or scheduler."""
