"""The search in trainings of espnet3, ESPnet's next generation with Lightning."""
