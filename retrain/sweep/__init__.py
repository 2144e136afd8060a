"""Many prunings of one parent side by side: criteria times amounts times seeds, and a control."""
