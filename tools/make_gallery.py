"""Makes the images of docs/gallery.md from built-in data and weights of the zoo; see `tools/make_gallery.py --help`."""

from gallery.driver import main

if __name__ == '__main__':
    main()
