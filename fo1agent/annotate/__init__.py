"""Bulk work: one task on very many pictures, written as shards that a kill leaves whole. See docs/scale.md."""
