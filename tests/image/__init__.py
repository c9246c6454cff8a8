"""`make image-test`: the image and the compose file on a real engine."""
