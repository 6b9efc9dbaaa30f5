"""Every figure of the book: each function returns a `bookkit.figures.style.Figure` for a notebook to show."""
