"""What a storage folder holds: listing and status."""
