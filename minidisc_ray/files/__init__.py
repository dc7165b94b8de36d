"""What a run leaves on disk: written whole or not at all, sealed, and patiently while a storage is away."""
