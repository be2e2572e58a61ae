"""What studies the product and is no part of it; nothing else imports it: the paper's tables, listening tests, benches, the demo,
the bundle for a GPU machine."""
