-- The roles stay: other databases of the cluster may use them, and they own nothing here any more.
SELECT 1;
