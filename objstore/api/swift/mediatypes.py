"""Content types guessed from names, for uploads that do not say theirs. A table of our own: those of systems differ."""

DEFAULT = "application/octet-stream"

_TYPES = {
    "7z": "application/x-7z-compressed", "aac": "audio/aac", "avi": "video/x-msvideo", "bin": DEFAULT,
    "bmp": "image/bmp", "bz2": "application/x-bzip2", "c": "text/x-csrc", "css": "text/css", "csv": "text/csv",
    "doc": "application/msword", "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip", "flac": "audio/flac", "gif": "image/gif", "gz": "application/gzip", "h": "text/x-chdr",
    "htm": "text/html", "html": "text/html", "ico": "image/vnd.microsoft.icon", "iso": "application/x-iso9660-image",
    "jar": "application/java-archive", "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript",
    "json": "application/json", "log": "text/plain", "md": "text/markdown", "mjs": "text/javascript", "mkv": "video/x-matroska",
    "mov": "video/quicktime", "mp3": "audio/mpeg", "mp4": "video/mp4", "mpeg": "video/mpeg", "mpg": "video/mpeg",
    "odp": "application/vnd.oasis.opendocument.presentation", "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text", "ogg": "audio/ogg", "otf": "font/otf",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf", "png": "image/png", "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation", "ps": "application/postscript",
    "py": "text/x-python", "rar": "application/vnd.rar", "rpm": "application/x-rpm", "rtf": "application/rtf",
    "sh": "application/x-sh", "svg": "image/svg+xml", "tar": "application/x-tar", "tgz": "application/gzip", "tif": "image/tiff",
    "tiff": "image/tiff", "toml": "application/toml", "tsv": "text/tab-separated-values", "ttf": "font/ttf", "txt": "text/plain",
    "wasm": "application/wasm", "wav": "audio/x-wav", "weba": "audio/webm", "webm": "video/webm", "webp": "image/webp",
    "woff": "font/woff", "woff2": "font/woff2", "xhtml": "application/xhtml+xml", "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xml": "application/xml",
    "xz": "application/x-xz", "yaml": "application/yaml", "yml": "application/yaml", "zip": "application/zip",
    "zst": "application/zstd",
}  # fmt: skip


def guess(name: str) -> str:
    """The content type of an object's name, by its extension."""
    _, dot, extension = name.rpartition(".")
    return _TYPES.get(extension.lower(), DEFAULT) if dot else DEFAULT
