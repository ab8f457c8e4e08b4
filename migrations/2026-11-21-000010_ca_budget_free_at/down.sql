DROP FUNCTION lookup_ca_budget_free_at(text, text, text, interval, integer);
