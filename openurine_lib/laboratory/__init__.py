"""A laboratory's own fields: boxes and a report, adaptation without labels, training on labels."""
