"""The book's own package: whatever exists because there is a book. It works in a checkout only."""
