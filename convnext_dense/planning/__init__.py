"""From facts about data and machine to a config: what `convnext-dense new` decides."""
