"""What the tool knows, for a reader: text for people, JSON for programs, JUnit and Markdown for pipelines. Pure."""
