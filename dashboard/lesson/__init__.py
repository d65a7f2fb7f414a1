"""The guided lesson: ten short steps from pixel to diagnosis, on the open case."""
