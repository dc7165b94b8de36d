"""Tables, figures and HTML pages made from results."""
