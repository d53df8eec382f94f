# uwct on the CPU; docs/elsewhere.md says how it is used.  docker build --tag uwct .
FROM python:3.12-slim AS build
COPY . /source
RUN python -m venv /opt/uwct && /opt/uwct/bin/pip install --no-cache-dir "/source[video,web]"

FROM python:3.12-slim
COPY --from=build /opt/uwct /opt/uwct
# For whatever user it is run as.
RUN install --directory --mode 1777 /work /cache
ENV PATH=/opt/uwct/bin:$PATH XDG_CACHE_HOME=/cache
USER 1000
VOLUME /cache
WORKDIR /work
EXPOSE 7860
ENTRYPOINT ["uwct"]
CMD ["--help"]
