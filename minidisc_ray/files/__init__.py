"""What a run leaves on disk or in a bucket: written whole or not at all, sealed, and waited for while a storage is away."""
