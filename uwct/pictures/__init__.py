"""Pictures and clips in and out of files, in memory, by strips and on canvases on disk; and contact sheets of them.

Nothing here knows of networks; of uwct it imports `files` alone.
"""
