"""Find figures, datasets of the storage class ``Plot``, in any Butler repository, which is only read."""
