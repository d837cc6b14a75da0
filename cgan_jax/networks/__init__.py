"""Networks: how they draw and read joint images."""
