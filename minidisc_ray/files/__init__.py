"""What a run leaves on disk or in a bucket: whole or not at all, sealed, waited for while the storage is away."""
