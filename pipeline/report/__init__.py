"""What is handed to others: tables of results as Markdown, LaTeX, CSV and one HTML page."""
