"""Names and layouts of published weights, one family a file, each with a function `convert`."""
